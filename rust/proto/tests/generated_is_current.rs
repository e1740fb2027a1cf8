//! The committed code is what the contract generates today.

use std::{env, fs, path::Path};

use prost::Message as _;

const CONTRACTS: [&str; 2] = ["btrdb.proto", "management.proto"];
const GENERATED: [&str; 3] = ["v5api.rs", "pingthings.management.v1.rs", "contracts.bin"];

/// Fields that are written even when they are zero. The library leaves out what equals zero, and
/// so would turn a stored -0.0 into 0.0; on the wire a zero that is there is as good as one that
/// is not.
const SIGNED_ZERO: [&str; 4] = [
    "RawPoint.value",
    "StatPoint.min",
    "StatPoint.mean",
    "StatPoint.max",
];

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(CONTRACTS, [root.join("../../proto")]).unwrap();
    let mut bare = descriptors.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    fs::write(fresh.path().join("contracts.bin"), bare.encode_to_vec()).unwrap();
    let mut code = tonic_prost_build::configure()
        .bytes(".")
        .emit_rerun_if_changed(false)
        .out_dir(fresh.path());
    for field in SIGNED_ZERO {
        code = code.field_attribute(field, "#[prost(required)]");
    }
    code.compile_fds(descriptors).unwrap();

    for name in GENERATED {
        let committed = root.join("src/generated").join(name);
        let fresh = fs::read(fresh.path().join(name)).unwrap();
        if env::var_os("UPDATE").is_some() {
            fs::write(&committed, &fresh).unwrap();
        }
        // Not assert_eq: the difference of two files this long helps nobody.
        assert!(
            fs::read(&committed).unwrap_or_default() == fresh,
            "`{name}` differs from the contract: run `UPDATE=1 cargo test -p pingthings-proto`"
        );
    }
}
