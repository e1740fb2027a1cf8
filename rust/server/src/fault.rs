//! Misbehaving on purpose, so that people can test what their own programs do then.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::Error;
use crate::call::{CALLS, name};

/// What goes wrong, at which calls, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Names of the calls at which it does, as in the contract (`Insert`); all, if there are none.
    pub calls: Vec<String>,
    /// How many calls it happens to; `None` is all of them.
    pub times: Option<u64>,
}

impl Fault {
    /// Refuses names of calls that do not exist.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let is_known = |asked: &String| CALLS.iter().any(|(path, _)| name(path) == asked);
        match self.calls.iter().find(|asked| !is_known(asked)) {
            Some(name) => Err(Error::UnknownCall { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// A way to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The call is handled only after this time.
    Delay(Duration),
    /// The call is never handled nor answered.
    Hang,
    /// The call is not handled and answered with status 426.
    Busy,
    /// The connection the call came by breaks once so many more bytes were sent on it.
    Cut {
        /// How many bytes are still sent.
        after: u64,
    },
    /// All connections are told to go away (HTTP/2 GOAWAY); calls under way are answered, new
    /// connections are served.
    GoAway,
    /// The connection the call came by is read no faster than this from then on.
    SlowReader {
        /// Bytes in a second, at least 1.
        bytes_per_second: u64,
    },
    /// All connections break, and nobody listens for this time; the data stay.
    Restart {
        /// How long connecting is refused.
        down: Duration,
    },
}

/// What the part that listens is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    GoAway,
    Restart(Duration),
}

/// The fault that is set, if one is.
#[derive(Debug)]
pub(crate) struct Faults {
    set: Mutex<Option<Fault>>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Faults {
    pub(crate) fn new(fault: Option<Fault>, commands: mpsc::UnboundedSender<Command>) -> Self {
        Self {
            set: Mutex::new(fault),
            commands,
        }
    }

    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.set.lock() = fault;
    }

    pub(crate) fn command(&self, command: Command) {
        // Nobody listens only once the server has ended.
        let _ = self.commands.send(command);
    }

    /// What happens to a call with this path.
    pub(crate) fn strike(&self, path: &str) -> Option<FaultKind> {
        let mut set = self.set.lock();
        let fault = set.as_mut()?;
        if !fault.calls.is_empty() && !fault.calls.iter().any(|call| call == name(path)) {
            return None;
        }
        if let Some(left) = &mut fault.times {
            *left = left.checked_sub(1)?;
        }
        Some(fault.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_at_no_call_is_refused_by_name() {
        let mut fault = Fault {
            kind: FaultKind::Hang,
            calls: vec!["Insert".to_owned()],
            times: None,
        };
        assert!(fault.check().is_ok());
        fault.calls.push("insert".to_owned());
        let error = fault.check().unwrap_err().to_string();
        assert!(error.contains("`insert`"), "{error}");
    }

    #[test]
    fn a_fault_strikes_the_calls_it_names_as_often_as_it_says() {
        let (commands, _told) = mpsc::unbounded_channel();
        let fault = Fault {
            kind: FaultKind::Hang,
            calls: vec!["Insert".to_owned()],
            times: Some(2),
        };
        let faults = Faults::new(Some(fault), commands);
        assert_eq!(faults.strike("/v5api.BTrDB/ArrowInsert"), None);
        for struck in [Some(FaultKind::Hang), Some(FaultKind::Hang), None] {
            assert_eq!(faults.strike("/v5api.BTrDB/Insert"), struck);
        }
        faults.set(None);
        assert_eq!(faults.strike("/v5api.BTrDB/Insert"), None);
    }
}
