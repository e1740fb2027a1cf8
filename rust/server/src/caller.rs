//! Who makes a call, and what is held for it.

use std::sync::Arc;

use tonic::Status;

use crate::budget::Hold;
use crate::owner::Owner;

/// Who makes a call, and what is held for it; each request that passed the door has it.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) owner: Arc<Owner>,
    pub(crate) request: Arc<Hold>,
    pub(crate) answer: Arc<Hold>,
}

impl Caller {
    /// The caller of a request.
    pub(crate) fn of(extensions: &tonic::Extensions) -> Result<Self, Status> {
        let caller = extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Status::internal("the call did not pass the door"))
    }
}

#[cfg(test)]
impl Caller {
    /// A caller with a budget of its own.
    pub(crate) fn of_nobody(limits: &crate::config::Limits) -> Self {
        let owner = Owner::new(limits);
        let budget = crate::budget::Budget::new(limits.memory_bytes, Arc::default());
        let hold = |kind| budget.hold(kind, Arc::clone(&owner), None);
        Self {
            owner: Arc::clone(&owner),
            request: hold(crate::budget::Kind::Request),
            answer: hold(crate::budget::Kind::Answer),
        }
    }
}
