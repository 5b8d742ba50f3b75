UPDATE t SET v = '\0\0c'; UPDATE t SET v = REPLACE(v, '\0', '')
