/** One thing that was looked into. */
export interface ProofStep {
  readonly name: 'input' | 'windows' | 'hours' | 'lines' | 'ledger' | 'audit';
  readonly holds: boolean;
  /** What was compared, or the first thing that differs: which, what is stored, what was computed. */
  readonly detail: string;
}

export function holds(name: ProofStep['name'], detail: string): ProofStep {
  return { name, holds: true, detail };
}

export function differs(name: ProofStep['name'], detail: string): ProofStep {
  return { name, holds: false, detail };
}
