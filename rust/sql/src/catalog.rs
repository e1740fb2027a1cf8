//! The tables that statements see: views over the tables of the catalog, created for each
//! connection, and the types of their columns.

use crate::types::Type::{
    self, Bool, Float8, Hstore, Int8, Jsonb, Text, Timestamptz, Uuid, Varchar,
};

/// A public table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The name of its view in the temporary schema of the connection.
    pub(crate) view: &'static str,
    pub(crate) columns: &'static [(&'static str, Type)],
    /// The query of the view.
    query: &'static str,
}

/// Every table that a statement may name.
pub(crate) const TABLES: [Table; 4] = [
    Table {
        name: "streams",
        view: "public_streams",
        columns: &[
            ("uuid", Uuid),
            ("collection", Varchar),
            ("name", Varchar),
            ("unit", Varchar),
            ("ingress", Varchar),
            ("property_version", Int8),
            ("annotations", Hstore),
            ("distiller", Varchar),
            ("created_at", Timestamptz),
            ("updated_at", Timestamptz),
            ("geo", Text),
            ("last_written", Timestamptz),
            ("previous_last_written", Timestamptz),
            ("estimated_count_delta", Int8),
            ("long_term_autoregressive_average", Float8),
            ("count_last_updated", Timestamptz),
            ("previous_count_last_updated", Timestamptz),
            ("watched", Bool),
        ],
        query: "select s.id as id, s.uuid as uuid, s.collection as collection, s.name as name, s.unit as unit,
            s.ingress as ingress, s.property_version as property_version,
            (select json_group_object(a.key, a.value order by octet_length(a.key), a.key)
                from main.annotations a where a.stream = s.id) as annotations,
            s.distiller as distiller, s.created_ns / 1000 as created_at,
            s.updated_ns / 1000 as updated_at, null as geo,
            (select v.wall_ns / 1000 from main.versions v where v.stream = s.id
                order by v.major desc limit 1) as last_written,
            null as previous_last_written, null as estimated_count_delta,
            null as long_term_autoregressive_average, null as count_last_updated,
            null as previous_count_last_updated, null as watched
            from main.streams s",
    },
    Table {
        name: "devices",
        view: "public_devices",
        columns: &[("id", Int8), ("name", Text), ("fields", Jsonb)],
        query: "select id, name, pg_cast_json_jsonb(fields) as fields from main.devices",
    },
    Table {
        name: "units",
        view: "public_units",
        columns: &[("id", Int8), ("name", Text), ("fields", Jsonb)],
        query: "select id, name, pg_cast_json_jsonb(fields) as fields from main.units",
    },
    Table {
        name: "collections",
        view: "public_collections",
        columns: &[
            ("name", Varchar),
            ("streams", Int8),
            ("remove_older_than_ns", Int8),
            ("override_per_stream", Bool),
        ],
        // The catalog stores the largest integer if an override keeps points for ever.
        query: "select c.name as name, c.streams as streams,
            nullif(r.keep_ns, 9223372036854775807) as remove_older_than_ns,
            r.overrides as override_per_stream
            from (select collection as name, count(*) as streams from main.streams
                group by collection) c
            left join main.collection_retention r on r.collection = c.name",
    },
];

/// The tables that the views read.
pub(crate) const BEHIND_VIEWS: [&str; 6] = [
    "annotations",
    "collection_retention",
    "devices",
    "streams",
    "units",
    "versions",
];

/// A view of single annotations, for statements that only use some annotations of a stream.
pub(crate) const ANNOTATIONS_VIEW: &str = "public_annotations";

/// The statement that creates that view.
pub(crate) const ANNOTATIONS_DEFINITION: &str = "create temp view public_annotations as
    select stream, key, value from main.annotations";

impl Table {
    /// The statement that creates the view.
    pub(crate) fn definition(&self) -> String {
        format!("create temp view {} as {}", self.view, self.query)
    }
}
