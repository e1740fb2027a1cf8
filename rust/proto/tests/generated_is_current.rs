//! The committed code is what the contract generates today.

use std::{env, fs, path::Path};

const CONTRACTS: [&str; 1] = ["btrdb.proto"];
const GENERATED: [&str; 1] = ["v5api.rs"];

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(CONTRACTS, [root.join("../../proto")]).unwrap();
    tonic_prost_build::configure()
        .bytes(".")
        .emit_rerun_if_changed(false)
        .out_dir(fresh.path())
        .compile_fds(descriptors)
        .unwrap();

    for name in GENERATED {
        let committed = root.join("src/generated").join(name);
        let fresh = fs::read_to_string(fresh.path().join(name)).unwrap();
        if env::var_os("UPDATE").is_some() {
            fs::write(&committed, &fresh).unwrap();
        }
        // Not assert_eq: the difference of two files this long helps nobody.
        assert!(
            fs::read_to_string(&committed).unwrap_or_default() == fresh,
            "`{name}` differs from the contract: run `UPDATE=1 cargo test -p pingthings-proto`"
        );
    }
}
