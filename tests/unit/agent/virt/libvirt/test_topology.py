"""Cells and devices, read from libvirt's XML."""

from __future__ import annotations

import pytest

from agent.virt.libvirt.topology import cells, device
from agent.virt.libvirt.xml.cpu_tune import cpu_list
from drover.objects.hardware import Cell, PciDevice

_CAPABILITIES = """
<capabilities><host><cpu/><topology><cells num='2'>
  <cell id='0'>
    <memory unit='KiB'>8388608</memory>
    <pages unit='KiB' size='4'>1048576</pages>
    <pages unit='KiB' size='2048'>1536</pages>
    <pages unit='KiB' size='1048576'>1</pages>
    <distances><sibling id='0' value='10'/></distances>
    <cpus num='4'>
      <cpu id='0' socket_id='0' die_id='0' core_id='0' siblings='0,2'/>
      <cpu id='1' socket_id='0' die_id='0' core_id='1' siblings='1,3'/>
      <cpu id='2' socket_id='0' die_id='0' core_id='0' siblings='0,2'/>
      <cpu id='3' socket_id='0' die_id='0' core_id='1' siblings='1,3'/>
    </cpus>
  </cell>
  <cell id='1'>
    <memory unit='KiB'>2097152</memory>
    <pages unit='KiB' size='2048'>0</pages>
    <cpus num='2'><cpu id='4' socket_id='1' core_id='0' siblings='4'/><cpu id='5'/></cpus>
  </cell>
</cells></topology></host></capabilities>
"""

_DEVICE = """
<device>
  <name>pci_0000_3b_00_1</name>
  <capability type='pci'>
    <class>0x020000</class>
    <domain>0</domain><bus>59</bus><slot>0</slot><function>1</function>
    <product id='0x1572'>Ethernet</product>
    <vendor id='0x8086'>Intel</vendor>
    {node}
  </capability>
</device>
"""


def test_cells_have_cores_ordinary_memory_and_huge_pages() -> None:
    assert cells(_CAPABILITIES) == (
        Cell(
            id=0,
            cpus=(0, 1, 2, 3),
            cores=((0, 2), (1, 3)),
            memory_mib=4096,  # without what is in huge pages
            pages={2048: 1536, 1048576: 1},
        ),
        Cell(id=1, cpus=(4,), cores=((4,),), memory_mib=2048),
    )


def test_a_host_without_topology_has_no_cells() -> None:
    assert cells("<capabilities><host/></capabilities>") == ()


@pytest.mark.parametrize(("node", "cell"), [("<numa node='1'/>", 1), ("", -1)])
def test_a_device_has_its_address_kind_and_cell(node: str, cell: int) -> None:
    assert device(_DEVICE.format(node=node)) == PciDevice(
        address="0000:3b:00.1", vendor_id="8086", product_id="1572", cell=cell
    )


@pytest.mark.parametrize(
    ("cpus", "text"), [((), ""), ((3,), "3"), ((0, 1, 2), "0-2"), ((5, 3, 4, 9, 3), "3-5,9"), ((0, 2), "0,2")]
)
def test_cpus_are_listed_in_spans(cpus: tuple[int, ...], text: str) -> None:
    assert cpu_list(cpus) == text
