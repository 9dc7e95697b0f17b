"""Do styles and guidance show?"""
