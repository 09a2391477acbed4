//! Disks that fill up or fail: the log directory goes offline, KAFKA_STORAGE_ERROR is answered, the process
//! stays, and after a restart everything acknowledged is there.
