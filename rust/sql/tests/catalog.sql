create table streams (
    id integer primary key autoincrement, uuid blob not null unique, collection text not null,
    name text not null, unit text not null, ingress text not null, distiller text not null,
    property_version integer not null, created_ns integer not null, updated_ns integer not null
) strict;
create table annotations (
    stream integer not null, key text not null, value text, primary key (stream, key)
) strict, without rowid;
create table versions (
    stream integer not null, major integer not null, wall_ns integer not null,
    primary key (stream, major)
) strict, without rowid;
create table collection_retention (
    collection text primary key, keep_ns integer not null, overrides integer not null
) strict, without rowid;
create table devices (id integer primary key, name text not null, fields text not null) strict;
create table units (id integer primary key, name text not null, fields text not null) strict;
