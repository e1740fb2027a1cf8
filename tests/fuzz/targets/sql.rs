//! Statements: refused or answered, in bounded time, and nothing is ever changed.
#![no_main]

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::Duration;

use pingthings_sql::{Cancel, Database, Limits};
use pingthings_storage::{Catalog, NewStream, SqliteCatalog};
use uuid::Uuid;

static CATALOG: OnceLock<(SqliteCatalog, Database)> = OnceLock::new();
const STREAM: Uuid = Uuid::from_u128(1);

fn catalog() -> &'static (SqliteCatalog, Database) {
    CATALOG.get_or_init(|| {
        let catalog = SqliteCatalog::in_memory().expect("a catalog");
        let stream = NewStream {
            uuid: STREAM,
            collection: "fuzz".to_owned(),
            annotations: [("phase".to_owned(), Some("A".to_owned()))].into(),
            ..NewStream::default()
        };
        catalog.create(&stream, 0).expect("a stream");
        let database = Database::new(catalog.uri().to_owned());
        (catalog, database)
    })
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (catalog, database) = catalog();
    let limits = Limits {
        time: Duration::from_secs(2),
        rows: 100,
        memory: 64 << 20,
        now_ns: 0,
    };
    let parameters = ["fuzz".to_owned(), "1".to_owned()];
    for given in [&parameters[..], &[]] {
        let _ = database.query(text, given, &limits, &Cancel::default(), |_| {
            ControlFlow::Continue(())
        });
    }
    assert_eq!(
        catalog.descriptor(STREAM).expect("the stream").collection,
        "fuzz"
    );
});
