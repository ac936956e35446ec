"""What ``fastclf lab`` runs: the whole lab on plain NumPy and on fastclf, compared."""
