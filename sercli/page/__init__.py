"""Self-contained HTML pages: template, style and scripts, and the function that fills them."""
