create table t (id int primary key);
create function tell() returns trigger language plpgsql as 'begin return null; end';
create trigger told after insert on t for each row execute function tell();
