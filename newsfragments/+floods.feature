However many clients are refused or disconnected, log and audit trail get a bounded number of lines about it, which say how many were left out.
