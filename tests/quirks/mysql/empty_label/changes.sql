UPDATE t SET e = 'b', s = 'é,X' WHERE id = 1; UPDATE t SET e = '' WHERE id = 2
