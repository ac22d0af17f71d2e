"""`python -m capsule_registry` is the command."""

from capsule_registry.cli.main import main

if __name__ == "__main__":
    main()
