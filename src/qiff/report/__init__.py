"""Reports: tables, figures and pages that show results to a person."""
