//! Messages, client and server of the wire contract, as Rust.
//!
//! Everything in the modules is generated from `proto/*.proto`; the text of the contract, with its
//! comments, is there. `cargo test -p pingthings-proto` fails when the two differ and rewrites the
//! code when `UPDATE=1` is set. Fields of type `bytes` are [`bytes::Bytes`], so that a payload is
//! handed on without being copied.

/// Both contracts as an encoded `FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/contracts.bin");

/// The contract that every server of the platform speaks: package `v5api`, service `BTrDB`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    rustdoc::all,
    clippy::all,
    clippy::pedantic,
    clippy::use_self,
    clippy::clone_on_ref_ptr,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod v5api {
    include!("generated/v5api.rs");
}

/// What only this project's server can do: package `pingthings.management.v1`, service
/// `Management`.
pub use pingthings::management::v1 as management;

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    rustdoc::all,
    clippy::all,
    clippy::pedantic,
    clippy::use_self,
    clippy::clone_on_ref_ptr,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod pingthings {
    pub mod management {
        pub mod v1 {
            include!("generated/pingthings.management.v1.rs");
        }
    }
}
