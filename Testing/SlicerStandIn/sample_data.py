"""The module `SampleData`: sources of sample scans, with those that lie on this computer."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import slicer


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


@dataclass
class SampleDataSource:
    """One entry of the Sample Data module."""

    sampleName: str | None = None
    sampleDescription: str | None = None
    uris: Any = field(default_factory=list)
    fileNames: Any = None
    nodeNames: Any = None
    checksums: Any = None
    loadFiles: Any = None
    customDownloader: Any = None
    thumbnailFileName: str | None = None
    loadFileType: Any = None
    loadFileProperties: Any = None


class SampleDataLogic:
    """Registers sources and loads them; only file:// addresses, so that no test needs the internet."""

    @staticmethod
    def registerCustomSampleDataSource(category: str = "Custom", **properties: Any) -> None:
        slicer.modules.sampleDataSources.setdefault(category, []).append(SampleDataSource(**properties))

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        for sources in slicer.modules.sampleDataSources.values():
            for source in sources:
                if source.sampleName == sampleName:
                    return source
        return None

    @staticmethod
    def isSampleDataSourceRegistered(category: str, sampleDataSource: SampleDataSource) -> bool:
        return sampleDataSource in slicer.modules.sampleDataSources.get(category, [])

    def downloadSamples(self, sampleName: str) -> list[Any]:
        source = self.sourceForSampleName(sampleName)
        nodes = []
        for uri, name in zip(_listed(source.uris), _listed(source.nodeNames), strict=True):
            if urlparse(uri).scheme != "file":
                raise RuntimeError(f"the stand-in does not download {uri}")
            path = Path(url2pathname(urlparse(uri).path))
            algorithm, digest = _listed(source.checksums)[0].split(":")
            if slicer.util.computeChecksum(algorithm, str(path)) != digest:
                raise RuntimeError(f"the checksum of {path} is wrong")
            nodes.append(slicer.util.loadVolume(str(path), {"name": name}))
        return nodes

    def downloadSample(self, sampleName: str) -> Any:
        return self.downloadSamples(sampleName)[0]


def make_module() -> types.ModuleType:
    """`SampleData`."""
    module = types.ModuleType("SampleData")
    module.SampleDataLogic, module.SampleDataSource = SampleDataLogic, SampleDataSource
    return module
