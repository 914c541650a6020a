"""What studies share: experiments over seeds, budgets, tables, claims and figures."""
