-- The target's server has no such extension, as when a package is not installed there.
create extension citext schema public;
create table t (id int primary key, name public.citext);
update pg_extension set extname = 'zdm_elsewhere' where extname = 'citext';
