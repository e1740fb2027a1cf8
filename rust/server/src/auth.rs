//! Who may call.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Checks the bearer key of every call.
#[derive(Clone)]
pub(crate) struct Auth {
    keys: Arc<[[u8; 32]]>,
    anonymous: bool,
}

impl Auth {
    /// Takes the keys and forgets them: only their hashes are kept.
    pub(crate) fn new(keys: Vec<String>, anonymous: bool) -> Self {
        Self {
            anonymous: anonymous || keys.is_empty(),
            keys: keys.into_iter().map(|key| hash(key.as_bytes())).collect(),
        }
    }

    fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        // With no key configured any key is as good as none: clients are often set up with one.
        if self.keys.is_empty() {
            return Ok(());
        }
        let Some(header) = metadata.get("authorization") else {
            return if self.anonymous {
                Ok(())
            } else {
                Err(Status::unauthenticated(
                    "missing api key: send it as `authorization: Bearer <key>`",
                ))
            };
        };
        let sent = hash(bearer(header.as_bytes()).unwrap_or_default());
        // All keys are compared, so that the time tells nothing about which one came close.
        let known = self
            .keys
            .iter()
            .fold(Choice::from(0), |known, key| known | key.ct_eq(&sent));
        if known.into() {
            Ok(())
        } else {
            Err(Status::unauthenticated("invalid api key"))
        }
    }
}

impl Interceptor for Auth {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.check(request.metadata()).map(|()| request)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("keys", &self.keys.len())
            .field("anonymous", &self.anonymous)
            .finish()
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The key in a header that says `Bearer <key>`, in whatever case.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = header.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(auth: &Auth, header: Option<&str>) -> Result<(), String> {
        let mut metadata = MetadataMap::new();
        if let Some(header) = header {
            metadata.insert("authorization", header.parse().unwrap());
        }
        auth.check(&metadata)
            .map_err(|status| status.message().to_owned())
    }

    #[test]
    fn any_of_the_keys_will_do_in_any_case_of_the_scheme() {
        let auth = Auth::new(vec!["one".to_owned(), "two".to_owned()], false);
        for header in ["Bearer one", "bearer two", "BEARER  one "] {
            assert_eq!(check(&auth, Some(header)), Ok(()), "{header}");
        }
        for header in ["Bearer three", "Bearer One", "Bearer", "Bearer ", "one", ""] {
            assert_eq!(
                check(&auth, Some(header)),
                Err("invalid api key".to_owned()),
                "{header}"
            );
        }
        assert!(
            check(&auth, None)
                .unwrap_err()
                .starts_with("missing api key")
        );
    }

    #[test]
    fn anonymous_callers_are_served_but_a_wrong_key_is_not() {
        let auth = Auth::new(vec!["one".to_owned()], true);
        assert_eq!(check(&auth, None), Ok(()));
        assert!(check(&auth, Some("Bearer two")).is_err());
    }

    #[test]
    fn without_keys_everybody_is_served() {
        let auth = Auth::new(Vec::new(), false);
        assert_eq!(check(&auth, None), Ok(()));
        assert_eq!(check(&auth, Some("Bearer whatever")), Ok(()));
    }
}
