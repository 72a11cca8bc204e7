"""Country packs: everything that differs between countries, as data.

One folder per country with a ``pack.toml``: label policy, languages, authorities, duties with
their dates, retention floor. ``casemate.gate.country`` reads and checks it.
"""
