//! The server's certificate, which can be replaced while the server runs.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Error, Tls};

/// A certificate and its private key, prepared for handshakes.
#[derive(Debug)]
pub(crate) struct Identity {
    source: Tls,
    config: ArcSwap<ServerConfig>,
    /// The digest of the certificate and key in `config`.
    digest: Mutex<[u8; 32]>,
}

impl Identity {
    pub(crate) fn new(source: Tls) -> Result<Self, Error> {
        let (certificate, key) = read(&source)?;
        Ok(Self {
            source,
            config: ArcSwap::from(prepare(&certificate, &key)?),
            digest: Mutex::new(digest(&certificate, &key)),
        })
    }

    /// Loads the certificate and key if their files have changed, and returns whether they have. If
    /// the files cannot be used, the current certificate and key stay in use.
    pub(crate) fn refresh(&self) -> Result<bool, Error> {
        let (certificate, key) = read(&self.source)?;
        let digest = digest(&certificate, &key);
        let mut current = self.digest.lock();
        if *current == digest {
            return Ok(false);
        }
        self.config.store(prepare(&certificate, &key)?);
        *current = digest;
        Ok(true)
    }

    /// The configuration for the next handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

fn digest(certificate: &[u8], key: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(certificate.len().to_le_bytes())
        .chain_update(certificate)
        .chain_update(key)
        .finalize()
        .into()
}

fn read(source: &Tls) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let file = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            Error::Certificate(format!("cannot read `{}`: {error}", path.display()))
        })
    };
    match source {
        Tls::Pem { certificate, key } => Ok((certificate.clone(), key.clone())),
        Tls::Files { certificate, key } => Ok((file(certificate)?, file(key)?)),
    }
}

fn prepare(certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, Error> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(Error::Certificate(
            "there is no certificate in it".to_owned(),
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| Error::Certificate(format!("the key: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Certificate(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| Error::Certificate(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
