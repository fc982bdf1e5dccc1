"""Speed, measured side by side in one run; ``make bench`` prints and keeps the table."""
