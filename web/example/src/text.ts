/** Shortens a hash or an address. */
export const short = (hex: string) => `${hex.slice(0, 10)}…${hex.slice(-6)}`;

/** Returns the message of an error. */
export function words(error: unknown): string {
  const { details, shortMessage, message } = error as Error & {
    details?: string;
    shortMessage?: string;
  };
  return details || shortMessage || message || String(error);
}
