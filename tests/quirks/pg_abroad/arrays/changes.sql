UPDATE t SET n = n || 4 WHERE id = 1
