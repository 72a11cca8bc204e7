"""Signing in with a SAML 2.0 identity provider: we ask by redirect, it answers by a signed form.

Sources: OASIS SAML 2.0 Core, Bindings (3.4, 3.5), Profiles (4.1), Metadata; with errata 05.
"""
