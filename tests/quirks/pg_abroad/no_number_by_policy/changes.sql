INSERT INTO t VALUES (4, '-Infinity', 'NaN')
