``--metrics`` serves Prometheus metrics and a status page; ``audit_file`` keeps an audit trail of who changed what and who was refused; ``--trace`` prints calls and answers, secrets left out.
