//! TLS settings: trusted authorities and the client certificate.

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{
    config::Config,
    error::{Error, ErrorKind},
};

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The TLS settings, and a description of the trusted authorities for errors.
///
/// A given bundle replaces the authorities of the system. If there is no bundle and the system has
/// no authorities (as in a container without certificates), those of the `webpki-roots` library are
/// trusted.
pub(crate) fn tls(config: &Config) -> Result<(ClientTlsConfig, String), Error> {
    let mut tls = ClientTlsConfig::new().assume_http2(true);
    if let Some(identity) = &config.identity {
        check_pem("the client certificate", &identity.certificate, CERTIFICATE)?;
        check_pem("the client key", &identity.key, b"PRIVATE KEY-----")?;
        tls = tls.identity(Identity::from_pem(&identity.certificate, &identity.key));
    }
    if let Some(bundle) = &config.ca_bundle {
        check_pem("the CA bundle", bundle, CERTIFICATE)?;
        let tls = tls.ca_certificate(Certificate::from_pem(bundle));
        return Ok((tls, "those of the given bundle".to_owned()));
    }
    let native = rustls_native_certs::load_native_certs();
    Ok(if native.certs.is_empty() {
        let trusted = "those that ship with this library, because the system has none";
        (tls.with_webpki_roots(), trusted.to_owned())
    } else {
        let trusted = format!("{} of this system", native.certs.len());
        (tls.with_native_roots(), trusted)
    })
}

fn check_pem(name: &str, text: &[u8], begin: &[u8]) -> Result<(), Error> {
    if text.windows(begin.len()).any(|part| part == begin) {
        return Ok(());
    }
    let begin = String::from_utf8_lossy(begin);
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("{name} is not a PEM file: it has no line with `{begin}`"),
    ))
}
