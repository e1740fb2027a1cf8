//! API keys and the roles of callers.

use std::fmt;
use std::path::PathBuf;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tonic::Status;

use crate::{Config, Error};

/// What a caller may do. Each role includes the roles before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read data and metadata.
    Read,
    /// Create streams, and change their data and metadata.
    Write,
    /// Obliterate streams, set retention, and change devices and units.
    Admin,
}

impl Role {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The role with this name, as in a key file.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Its name, as in a key file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// The SHA-256 hash of a key.
pub(crate) type KeyHash = [u8; 32];

/// What the server stores of a key.
#[derive(Clone)]
struct Key {
    hash: KeyHash,
    role: Role,
}

/// Checks the key of every call.
pub(crate) struct Auth {
    /// The keys of the configuration.
    config_keys: Vec<Key>,
    /// The keys of the key file, which may change.
    file: ArcSwap<Vec<Key>>,
    path: Option<PathBuf>,
    /// The content of the key file when it was last loaded.
    text: Mutex<String>,
    /// The role of callers without a key, if they are served.
    anonymous_role: Option<Role>,
}

impl Auth {
    /// Loads the keys of a configuration. Only their hashes are stored.
    ///
    /// # Errors
    /// If the key file cannot be read or is invalid.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let config_keys = config.api_keys.iter().map(|key| Key {
            hash: hash(key.as_bytes()),
            role: Role::Admin,
        });
        let auth = Self {
            config_keys: config_keys.collect(),
            file: ArcSwap::default(),
            text: Mutex::default(),
            path: config.key_file.clone(),
            anonymous_role: if config.has_keys() {
                config.anonymous.then_some(config.anonymous_role)
            } else {
                Some(Role::Admin)
            },
        };
        auth.refresh()?;
        Ok(auth)
    }

    /// Loads the key file if it has changed, and returns whether it has. If the file cannot be
    /// used, the current keys stay valid.
    pub(crate) fn refresh(&self) -> Result<bool, Error> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        let failed = |problem: String| Error::KeyFile {
            path: path.clone(),
            problem,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let mut seen = self.text.lock();
        if *seen == text {
            return Ok(false);
        }
        let keys = parse(&text).map_err(failed)?;
        self.file.store(keys.into());
        *seen = text;
        Ok(true)
    }

    /// The role of a caller with these headers, and the hash of its key.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(Role, Option<KeyHash>), Status> {
        // If no key is configured, a sent key is ignored: many clients always send one.
        let is_open = self.config_keys.is_empty() && self.path.is_none();
        let Some(header) = headers.get(AUTHORIZATION).filter(|_| !is_open) else {
            let role = self.anonymous_role.ok_or_else(|| {
                Status::unauthenticated("missing api key: send it as `authorization: Bearer <key>`")
            })?;
            return Ok((role, None));
        };
        let sent = hash(bearer(header.as_bytes()).unwrap_or_default());
        let file = self.file.load();
        // All keys are compared in constant time, so that the time does not reveal a similar key.
        let (known, role) = self.config_keys.iter().chain(file.iter()).fold(
            (Choice::from(0), 0),
            |(known, role), key| {
                let same = key.hash.ct_eq(&sent);
                (
                    known | same,
                    u8::conditional_select(&role, &(key.role as u8), same),
                )
            },
        );
        let role = Role::ALL.get(usize::from(role)).copied();
        role.filter(|_| known.into())
            .map(|role| (role, Some(sent)))
            .ok_or_else(|| Status::unauthenticated("invalid api key"))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("keys", &(self.config_keys.len() + self.file.load().len()))
            .field("anonymous_role", &self.anonymous_role)
            .finish_non_exhaustive()
    }
}

/// The keys of a file: on each line a name, a role, and the SHA-256 of the key in hexadecimal.
fn parse(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (_name, role, digest) = (words.next(), words.next(), words.next());
        let role = role.and_then(Role::from_name);
        let hash = digest.and_then(decode_hex);
        match (role, hash, words.next()) {
            (Some(role), Some(hash), None) => keys.push(Key { hash, role }),
            _ => {
                return Err(format!(
                    "line {} needs a name, role and hash: write it with `pingthings key add`",
                    at + 1
                ));
            }
        }
    }
    Ok(keys)
}

fn decode_hex(digits: &str) -> Option<KeyHash> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn hash(key: &[u8]) -> KeyHash {
    Sha256::digest(key).into()
}

/// The key in a header `Bearer <key>`. The case of the scheme does not matter.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = header.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(keys: &[&str], anonymous: bool) -> Auth {
        Auth::new(&Config {
            api_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            anonymous,
            ..Config::default()
        })
        .unwrap()
    }

    fn role(auth: &Auth, header: Option<&str>) -> Result<Role, String> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        auth.check(&headers)
            .map(|(role, _)| role)
            .map_err(|status| status.message().to_owned())
    }

    #[test]
    fn every_key_is_valid_in_any_case_of_the_scheme() {
        let auth = auth(&["one", "two"], false);
        for header in ["Bearer one", "bearer two", "BEARER  one "] {
            assert_eq!(role(&auth, Some(header)), Ok(Role::Admin), "{header}");
        }
        for header in ["Bearer three", "Bearer One", "Bearer", "Bearer ", "one", ""] {
            assert_eq!(
                role(&auth, Some(header)),
                Err("invalid api key".to_owned()),
                "{header}"
            );
        }
        let missing = role(&auth, None).unwrap_err();
        assert!(missing.starts_with("missing api key"), "{missing}");
    }

    #[test]
    fn anonymous_callers_may_read_but_a_wrong_key_may_not() {
        let auth = auth(&["one"], true);
        assert_eq!(role(&auth, None), Ok(Role::Read));
        assert!(role(&auth, Some("Bearer two")).is_err());
    }

    #[test]
    fn without_keys_every_caller_is_served() {
        let auth = auth(&[], false);
        assert_eq!(role(&auth, None), Ok(Role::Admin));
        assert_eq!(role(&auth, Some("Bearer one")), Ok(Role::Admin));
    }

    fn hex(key: &str) -> String {
        use std::fmt::Write;
        hash(key.as_bytes())
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
    }

    #[test]
    fn a_key_file_gives_roles_and_can_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let lines = format!(
            "# comment\n\na read {}\nb write {}\nc admin {}\n",
            hex("r"),
            hex("w"),
            hex("a")
        );
        std::fs::write(&path, &lines).unwrap();
        let auth = Auth::new(&Config {
            key_file: Some(path.clone()),
            ..Config::default()
        })
        .unwrap();
        let roles = [("r", Role::Read), ("w", Role::Write), ("a", Role::Admin)];
        for (key, expected) in roles {
            assert_eq!(role(&auth, Some(&format!("Bearer {key}"))), Ok(expected));
        }
        assert!(role(&auth, None).is_err());

        // An invalid file changes nothing. A file without keys excludes all callers.
        std::fs::write(&path, "a read 00\n").unwrap();
        let error = auth.refresh().unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
        assert_eq!(role(&auth, Some("Bearer r")), Ok(Role::Read));
        std::fs::write(&path, "").unwrap();
        assert!(auth.refresh().unwrap());
        assert!(!auth.refresh().unwrap());
        assert!(role(&auth, Some("Bearer r")).is_err());
        assert!(role(&auth, None).is_err());
    }

    #[test]
    fn an_invalid_line_is_reported_by_its_number() {
        let digest = hex("x");
        for line in [
            format!("a owner {digest}"),
            format!("a read {digest}00"),
            format!("a read {digest} more"),
            "a read".to_owned(),
            format!("a read {}é", &digest[..62]),
        ] {
            let error = parse(&format!("# keys\n{line}")).err().unwrap();
            assert!(error.starts_with("line 2"), "{line}: {error}");
        }
    }

    #[test]
    fn debug_output_shows_no_key() {
        let text = format!("{:?}", auth(&["sesame"], false));
        assert!(!text.contains("sesame"), "{text}");
    }
}
