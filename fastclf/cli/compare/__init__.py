"""The comparison behind ``fastclf lab``: every stage of the lab on plain NumPy and on fastclf."""
