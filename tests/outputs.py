"""Outputs in the formats of FHI-aims and of VASP, with the labels that they are given."""

import ase
import ase.units
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress


def aims(atoms: ase.Atoms, energy: float, forces: np.ndarray, stress: np.ndarray | None) -> str:
    """A calculation of FHI-aims that ended well; periodic if there is a stress."""
    periodic = stress is not None
    row = lambda values: "".join(f"{value:25.15E}" for value in values)
    structure = "\n".join(
        f"  |{i:5d}: Species {a.symbol:<2}{a.x:24.8f}{a.y:16.8f}{a.z:16.8f}"
        for i, a in enumerate(atoms, 1)
    )
    rows = [f"  | {v[0]:18.8f}{v[1]:16.8f}{v[2]:16.8f}" for v in atoms.cell.array]
    cell = "\n".join(["  | Unit cell:", *rows]) if periodic else "  | No unit cell requested."
    text = f"""------------------------------------------------------------
          Invoking FHI-aims ...

          Version 240920.1
------------------------------------------------------------
  | Number of atoms                   :{len(atoms):9d}
  | Number of spin channels           :        1
  Input geometry:
{cell}
  Atomic structure:
  |       Atom                x [A]            y [A]            z [A]
{structure}

  The structure contains {len(atoms):8d} atoms,  and a total of{10.0:16.3f} electrons.
  | Number of Kohn-Sham states (occupied + empty):       11
          Begin self-consistency loop: Initialization.
          Begin self-consistency iteration #    1
  Total energy components:
  | Total energy                  :{energy / ase.units.Hartree:23.8f} Ha {energy:23.8f} eV
  | Electronic free energy        :{energy / ase.units.Hartree:23.8f} Ha {energy:23.8f} eV

  | Number of self-consistency cycles          :           12
  Energy and forces in a compact form:
  | Total energy uncorrected      :{energy:25.15E} eV
  | Total energy corrected        :{energy:25.15E} eV  <-- do not rely on this value
  | Electronic free energy        :{energy:25.15E} eV
  Total atomic forces (unitary forces cleaned) [eV/Ang]:
"""
    text += "\n".join(f"  |{i:5d} {row(force)}" for i, force in enumerate(forces, 1)) + "\n\n"
    if stress is not None:
        rows = zip("xyz", voigt_6_to_full_3x3_stress(stress), strict=True)
        numbers = lambda found: "".join(f"{value:18.8f}" for value in found)
        lines = "\n".join(f"  |  {x}  {numbers(found)}        |" for x, found in rows)
        text += f"""  +-------------------------------------------------------------------+
  |              Analytical stress tensor - Symmetrized               |
  |                  Cartesian components [eV/A**3]                   |
  +-------------------------------------------------------------------+
  |                x                y                z                |
  |                                                                   |
{lines}
  |                                                                   |
  +-------------------------------------------------------------------+
"""
    return text + "          Have a nice day.\n" + "-" * 60 + "\n"


def outcar(
    atoms: ase.Atoms, energy: float, forces: np.ndarray, stress: np.ndarray, free_energy: float
) -> str:
    """A step of VASP; the atoms of an element must follow each other."""
    names = list(dict.fromkeys(atoms.symbols))
    titles = "\n".join(f" POTCAR:    PAW_PBE {name} 08Apr2002" for name in 2 * names)
    numbers = "".join(f"{atoms.symbols.count(name):4d}" for name in names)
    kilobars = -np.array(stress)[[0, 1, 2, 5, 3, 4]] * 10 / ase.units.GPa
    cell = "\n".join(
        "".join(f"{value:13.9f}" for value in (*vector, *inverse))
        for vector, inverse in zip(atoms.cell.array, np.linalg.inv(atoms.cell.array).T, strict=True)
    )
    rows = "\n".join(
        "".join(f"{value:13.5f}" for value in place) + " " + "".join(f"{f:14.6f}" for f in force)
        for place, force in zip(atoms.positions, forces, strict=True)
    )
    return f""" vasp.6.4.2 20Jul23 (build Sep 12 2023) complex
{titles}
   ions per type =            {numbers}
   k-points           NKPTS =      1   k-points in BZ  NKDIM =     1  number of bands  NBANDS=    8
   ISPIN  =      1    spin polarized calculation?
 k-points in reciprocal lattice and weights: Gamma
   0.00000000  0.00000000  0.00000000       1.000

--------------------------------------- Iteration      1(   1)  -----------------------------------

  FORCE on cell =-STRESS in cart. coord.  units (eV):
  Direction    XX          YY          ZZ          XY          YZ          ZX
  --------------------------------------------------------------------------------------
  in kB  {"".join(f"{value:12.5f}" for value in kilobars)}
  external pressure = {kilobars[:3].mean():12.2f} kB  Pullay stress =        0.00 kB

 VOLUME and BASIS-vectors are now :
  volume of cell :{atoms.get_volume():12.2f}
      direct lattice vectors                 reciprocal lattice vectors
{cell}

 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
{rows}
 -----------------------------------------------------------------------------------
    total drift:                                0.000000      0.000000      0.000000

  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  = {free_energy:18.8f} eV

  energy  without entropy= {2 * energy - free_energy:18.8f}  energy(sigma->0) = {energy:18.8f}

"""
