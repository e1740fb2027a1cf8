//! Fault injection, so that users can test how their programs react to faults of a server.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::Error;
use crate::call::{CALLS, name};

/// A fault that the server injects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub kind: FaultKind,
    /// The names of the calls it affects, as in the contract (`Insert`). An empty list affects all.
    pub calls: Vec<String>,
    /// How many calls it affects, or `None` for no limit.
    pub times: Option<u64>,
}

impl Fault {
    /// Refuses names of calls that do not exist.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let exists = |requested: &String| CALLS.iter().any(|(path, _)| name(path) == requested);
        match self.calls.iter().find(|requested| !exists(requested)) {
            Some(name) => Err(Error::UnknownCall { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The call is handled only after this time.
    Delay(Duration),
    /// The call is neither handled nor answered.
    Hang,
    /// The call is not handled and answered with status 426.
    Busy,
    /// The connection of the call is closed after so many more bytes are sent.
    Cut {
        /// The number of bytes.
        after: u64,
    },
    /// All connections get an HTTP/2 GOAWAY frame. Calls in flight are answered, and new
    /// connections are served.
    GoAway,
    /// The connection of the call is read no faster than this from then on.
    SlowReader {
        /// Bytes per second, at least 1.
        bytes_per_second: u64,
    },
    /// All connections are closed, and the server does not listen for some time. It keeps its data.
    Restart {
        /// How long it does not listen.
        down: Duration,
    },
}

/// A command to the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    GoAway,
    Restart(Duration),
}

/// The current fault, if there is one.
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
        // This fails only if the server has stopped.
        let _ = self.commands.send(command);
    }

    /// The fault for a call with this path, if it affects the call. Counts the call.
    pub(crate) fn take_for(&self, path: &str) -> Option<FaultKind> {
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
    fn a_fault_at_an_unknown_call_is_refused_by_name() {
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
    fn a_fault_affects_its_calls_as_often_as_requested() {
        let (commands, _receiver) = mpsc::unbounded_channel();
        let fault = Fault {
            kind: FaultKind::Hang,
            calls: vec!["Insert".to_owned()],
            times: Some(2),
        };
        let faults = Faults::new(Some(fault), commands);
        assert_eq!(faults.take_for("/v5api.BTrDB/ArrowInsert"), None);
        for expected in [Some(FaultKind::Hang), Some(FaultKind::Hang), None] {
            assert_eq!(faults.take_for("/v5api.BTrDB/Insert"), expected);
        }
        faults.set(None);
        assert_eq!(faults.take_for("/v5api.BTrDB/Insert"), None);
    }
}
