//! The rights that each step needs, as statements. Documentation only.
//!
//! No step needs a superuser. `mover` is the role that the run logs in as,
//! `shop` the database, `app_owner` the role that owns the source's tables.
//!
//! # Source
//!
//! ```sql
//! -- assess, copy and follow: read the log, the tables and the sequences
//! ALTER ROLE mover LOGIN REPLICATION;   -- managed: GRANT rds_replication TO mover
//! GRANT CREATE ON DATABASE shop TO mover;   -- the publication, the schema zdm
//! GRANT USAGE ON SCHEMA public TO mover;
//! GRANT SELECT ON ALL TABLES IN SCHEMA public TO mover;
//! GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO mover;
//! -- publish the tables, hold them and seal them: PostgreSQL asks for their owner
//! GRANT app_owner TO mover;
//! ```
//!
//! A role that owns the tables has the last four by itself. Row security must
//! not hide rows from it (`ALTER ROLE mover BYPASSRLS`, or own the table
//! without `FORCE ROW LEVEL SECURITY`).
//!
//! # Target
//!
//! ```sql
//! -- prepare, load, apply, keep progress: everything is mover's own
//! GRANT CREATE ON DATABASE shop TO mover;
//! GRANT USAGE, CREATE ON SCHEMA public TO mover;   -- for tables in schemas that are there
//! ```
//!
//! Extensions that are not trusted must be made by an administrator first; the
//! assessment names those that are missing. `session_replication_role` is used
//! where it is allowed and never needed.
