"""Whether a plan was made for this machine, by what the manifest says and before a byte of it is read."""

from vtp_export.spec import Build, EngineRecord


def why_unfit(build: Build, name: str, here: EngineRecord) -> str | None:
    """Another version, another kind of GPU, another platform, or unknown which; one sentence, or None.

    Args:
        build: of the plan.
        name: what the runtime is called in a sentence.
        here: this machine, as a plan that is built on it and for it alone would record it.
    """
    made, capability = build.engine, here.compute_capabilities[0]
    if made is None:
        return "the manifest does not say what it was built on"
    if made.runtime != here.runtime:
        return f"it was built by {name} {made.runtime}, and here is {here.runtime}"
    if capability not in made.compute_capabilities:
        device = f" ({made.device})" if made.device else ""
        wanted = f"compute capability {', '.join(made.compute_capabilities) or 'unknown'}{device}"
        return f"it was built for {wanted}, and here is {capability} ({here.device})"
    if made.platform != here.platform:
        return f"it was built on {made.platform}, and here is {here.platform}"
    return None
