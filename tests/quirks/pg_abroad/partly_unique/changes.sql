UPDATE t SET live = NOT live WHERE id = 1; UPDATE t SET live = true WHERE id = 2
