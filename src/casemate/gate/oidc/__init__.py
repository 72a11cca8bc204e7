"""Signing in with somebody else's word: OpenID Connect providers, as ``providers`` declares them.

Sources: OpenID Connect Core 1.0 and Discovery 1.0 with errata 2; RFC 6749, 7636 (PKCE), 9207; RFC
9700 (security best practice); OpenID Connect Back-Channel Logout 1.0 and RP-Initiated Logout 1.0.
"""
