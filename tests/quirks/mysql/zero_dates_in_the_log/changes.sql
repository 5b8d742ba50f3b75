SET sql_mode = ''; UPDATE t SET at = '0000-00-00 00:00:00'
