create table t (id int primary key);

select pg_create_logical_replication_slot('taken', 'pgoutput');
