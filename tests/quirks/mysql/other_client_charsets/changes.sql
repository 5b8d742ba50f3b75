SET NAMES cp1251; UPDATE t SET a = _cp1251 x'cff0', c = _cp1251 x'cff0'; INSERT INTO t VALUES (2, '', _latin1 x'80', '')
