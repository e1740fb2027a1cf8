//! The caller of a request, and the memory that is counted for it.

use std::sync::Arc;

use tonic::Status;

use crate::account::Account;
use crate::budget::Hold;

/// The account of a call and the holds on its memory. The call layer attaches it to each request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) account: Arc<Account>,
    pub(crate) request: Arc<Hold>,
    pub(crate) answer: Arc<Hold>,
}

impl Caller {
    /// The caller of a request.
    pub(crate) fn from_extensions(extensions: &tonic::Extensions) -> Result<Self, Status> {
        let caller = extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Status::internal("the call did not pass the call layer"))
    }
}

#[cfg(test)]
impl Caller {
    /// A caller with its own budget.
    pub(crate) fn for_tests(limits: &crate::config::Limits) -> Self {
        let account = Account::new(limits);
        let budget = crate::budget::Budget::new(limits.memory_bytes, Arc::default());
        let hold = |kind| budget.new_hold(kind, Arc::clone(&account), None);
        Self {
            account: Arc::clone(&account),
            request: hold(crate::budget::HoldKind::Request),
            answer: hold(crate::budget::HoldKind::Answer),
        }
    }
}
