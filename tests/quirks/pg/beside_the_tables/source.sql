create table t (id int primary key);
create view seen as select * from t;
create materialized view kept as select * from t;
create sequence loose;
