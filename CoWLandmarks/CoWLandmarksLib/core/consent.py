"""What a person reads before a scan goes into a training cohort. Imports nothing, so that --help answers at once."""

CONSENT_LINE = (
    "Only the image, the landmarks and the mask of the vessels are written, under the pseudonym. Names, IDs and dates "
    "of the patient are not; the face can still be recognised in the image itself. Use only scans that consent or an "
    "ethics approval covers."
)
