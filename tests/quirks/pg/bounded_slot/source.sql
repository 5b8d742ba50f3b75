create table t (id int primary key, v text);
insert into t select i, repeat(md5(i::text), 40) from generate_series(1, 3000) i;
analyze t;
