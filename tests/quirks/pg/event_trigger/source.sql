create table t (id int primary key);
create function tell() returns event_trigger language plpgsql as 'begin end';
create event trigger told on ddl_command_end execute function tell();
