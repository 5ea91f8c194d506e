"""What users show others: tables, plots and one HTML file, all from the same numbers."""
