"""What hypervisor drivers share about domains: definitions, records, the table of all, and calls on them."""
