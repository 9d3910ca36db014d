"""The MRML widgets that the panels use: qMRMLWidget and qMRMLNodeComboBox."""

from __future__ import annotations

import weakref
from typing import Any

from PySide6 import QtCore, QtWidgets

from .python_qt import slicer_class


class Widget(QtWidgets.QWidget):
    """qMRMLWidget: hands a scene on."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        QtWidgets.QWidget.__init__(self, parent)
        self.__dict__["_scene"] = None

    def setMRMLScene(self, scene: Any) -> None:
        """Give it a scene; widgets that are connected get it too."""
        if scene is not self._scene:
            self.__dict__["_scene"] = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene


_DEFAULTS = {
    "nodeTypes": [],
    "noneEnabled": False,
    "addEnabled": True,
    "removeEnabled": True,
    "editEnabled": False,
    "renameEnabled": False,
    "showHidden": False,
    "showChildNodeTypes": True,
    "selectNodeUponCreation": True,
    "noneDisplay": "None",
    "baseName": "",
}


class NodeComboBox(QtWidgets.QWidget):
    """qMRMLNodeComboBox: the nodes of some classes in a scene, one of them chosen."""

    currentNodeChanged = QtCore.Signal(object)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeAdded = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        QtWidgets.QWidget.__init__(self, parent)
        self.__dict__.update(
            _scene=None,
            _tags=[],
            _nodes=[],
            _current=None,
            _attributes=[],
            _kept=dict(_DEFAULTS),
            _box=QtWidgets.QComboBox(),
        )
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._box.currentIndexChanged.connect(self._chosen)
        self.destroyed.connect(lambda *_arguments, state=self.__dict__: _forget(state))

    def setMRMLScene(self, scene: Any) -> None:
        """The scene whose nodes are offered."""
        if scene is self._scene:
            return
        _forget(self.__dict__)
        self.__dict__["_scene"] = scene
        if scene is not None:
            itself = weakref.ref(self)
            for event in (
                scene.NodeAddedEvent,
                scene.NodeRemovedEvent,
                scene.EndBatchProcessEvent,
                scene.EndImportEvent,
                scene.EndCloseEvent,
            ):
                self._tags.append((scene, scene.AddObserver(event, lambda caller, name: _refill(itself))))
        self._fill()

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def currentNode(self) -> Any:
        """The chosen node, or None."""
        return self._current

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node; one that is not offered chooses none."""
        self._fill(node if node in self._nodes else None, asked=True)

    def setCurrentNodeID(self, node_id: str) -> None:
        """Choose a node by its ID."""
        self.setCurrentNode(self._scene.GetNodeByID(node_id) if node_id else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        """Choose the node at an index."""
        self.setCurrentNode(self.nodeFromIndex(index))

    def nodeCount(self) -> int:
        """How many nodes are offered."""
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:
        """A node by its index."""
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        """Offer of a class only nodes that have an attribute."""
        self._attributes.append((node_type, name, value))
        self._fill()

    def _fits(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self._kept["showHidden"]:
            return False
        if not self._kept["showChildNodeTypes"] and node.GetClassName() not in self._kept["nodeTypes"]:
            return False
        return all(
            (node.GetAttribute(name) is not None if value is None else node.GetAttribute(name) == str(value))
            for node_type, name, value in self._attributes
            if node.IsA(node_type)
        )

    def _fill(self, wanted: Any = None, asked: bool = False) -> None:
        """Offer the nodes that are there now; without a wish the choice stays, or the first node is chosen."""
        scene = self._scene
        if scene is None or (scene.IsBatchProcessing() and not asked):
            return
        nodes = []
        for class_name in self._kept["nodeTypes"]:
            for index in range(scene.GetNumberOfNodesByClass(class_name)):
                node = scene.GetNthNodeByClass(index, class_name)
                if node not in nodes and self._fits(node):
                    nodes.append(node)
        added = [node for node in nodes if node not in self._nodes]
        if not asked:
            wanted = self._current if self._current in nodes else None
        if wanted is None and nodes and not self._kept["noneEnabled"] and not asked:
            wanted = nodes[0]
        self.__dict__["_nodes"] = nodes
        self._box.blockSignals(True)
        self._box.clear()
        if self._kept["noneEnabled"]:
            self._box.addItem(self._kept["noneDisplay"])
        for node in nodes:
            self._box.addItem(node.GetName())
        self._box.setCurrentIndex(self._index_of(wanted))
        self._box.blockSignals(False)
        for node in added:
            self.nodeAdded.emit(node)
        self._take(wanted)

    def _index_of(self, node: Any) -> int:
        first = 1 if self._kept["noneEnabled"] else 0
        return first - 1 if node is None else self._nodes.index(node) + first

    def _chosen(self, index: int) -> None:
        self._take(self.nodeFromIndex(index - (1 if self._kept["noneEnabled"] else 0)))

    def _take(self, node: Any) -> None:
        if node is not self._current:
            self.__dict__["_current"] = node
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit("" if node is None else node.GetID())


def _refill(box: weakref.ref[Any]) -> None:
    living = box()
    if living is not None:
        living._fill()


def _forget(state: dict[str, Any]) -> None:
    for scene, tag in state["_tags"]:
        scene.RemoveObserver(tag)
    state["_tags"].clear()


def _kept(name: str) -> property:
    def write(self: Any, value: Any) -> None:
        self._kept[name] = list(value) if name == "nodeTypes" else value
        self._fill()

    return property(lambda self: self._kept[name], write)


def make_mrml_widgets() -> dict[str, type]:
    """The classes by name; they are attributes of `slicer`."""
    combo = {name: _kept(name) for name in _DEFAULTS}
    combo["currentNodeID"] = property(
        lambda self: "" if self._current is None else self._current.GetID(),
        lambda self, node_id: self.setCurrentNodeID(node_id),
    )
    return {
        "qMRMLWidget": slicer_class("qMRMLWidget", Widget),
        "qMRMLNodeComboBox": slicer_class("qMRMLNodeComboBox", NodeComboBox, combo),
    }
