/** The NIC port on which a guest that moves in may be accelerated: the one of that name, or the bridge's first. */
export function accelPort(
  wanted: string | null,
  ports: readonly string[],
  bridged: readonly string[],
): string | null {
  if (wanted === null || ports.includes(wanted)) return wanted;
  return bridged[0] ?? null;
}
