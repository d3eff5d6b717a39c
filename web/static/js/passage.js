// Kenneth Grahame, The Wind in the Willows (1908), chapter I; in the public domain. It
// stands in for what a model would write: the recording has the times of tokens, no text.

const PARAGRAPHS = [
  `The Mole had been working very hard all the morning, spring-cleaning his little home.
   First with brooms, then with dusters; then on ladders and steps and chairs, with a brush
   and a pail of whitewash; till he had dust in his throat and eyes, and splashes of
   whitewash all over his black fur, and an aching back and weary arms. Spring was moving in
   the air above and in the earth below and around him, penetrating even his dark and lowly
   little house with its spirit of divine discontent and longing.`,
  `It was small wonder, then, that he suddenly flung down his brush on the floor, said
   ‘Bother!’ and ‘O blow!’ and also ‘Hang spring-cleaning!’ and bolted out of the house
   without even waiting to put on his coat. Something up above was calling him imperiously,
   and he made for the steep little tunnel which answered in his case to the gravelled
   carriage-drive owned by animals whose residences are nearer to the sun and air.`,
  `So he scraped and scratched and scrabbled and scrooged and then he scrooged again and
   scrabbled and scratched and scraped, working busily with his little paws and muttering to
   himself, ‘Up we go! Up we go!’ till at last, pop! his snout came out into the sunlight,
   and he found himself rolling in the warm grass of a great meadow.`,
  `The sunshine struck hot on his fur, soft breezes caressed his heated brow, and after the
   seclusion of the cellarage he had lived in so long the carol of happy birds fell on his
   dulled hearing almost like a shout. Jumping off all his four legs at once, in the joy of
   living and the delight of spring without its cleaning, he pursued his way across the
   meadow till he reached the hedge on the further side.`,
  `It all seemed too good to be true. Hither and thither through the meadows he rambled
   busily, along the hedgerows, across the copses, finding everywhere birds building, flowers
   budding, leaves thrusting—everything happy, and progressive, and occupied.`,
  `He thought his happiness was complete when, as he meandered aimlessly along, suddenly he
   stood by the edge of a full-fed river. Never in his life had he seen a river before—this
   sleek, sinuous, full-bodied animal, chasing and chuckling, gripping things with a gurgle
   and leaving them with a laugh, to fling itself on fresh playmates that shook themselves
   free, and were caught and held again. All was a-shake and a-shiver—glints and gleams and
   sparkles, rustle and swirl, chatter and bubble.`,
  `By the side of the river he trotted as one trots, when very small, by the side of a man
   who holds one spell-bound by exciting stories; and when tired at last, he sat on the bank,
   while the river still chattered on to him, a babbling procession of the best stories in
   the world, sent from the heart of the earth to be told at last to the insatiable sea.`,
  `As he sat on the grass and looked across the river, a dark hole in the bank opposite, just
   above the water’s edge, caught his eye, and dreamily he fell to considering what a nice
   snug dwelling-place it would make for an animal with few wants and fond of a bijou
   riverside residence, above flood level and remote from noise and dust.`,
];

// English has about three words for four tokens.
const WORDS_PER_TOKEN = 0.75;

/** Words for `tokens` tokens, from paragraph number `start` on, and around again. */
export function passage(start, tokens) {
  const count = Math.max(1, Math.ceil(tokens * WORDS_PER_TOKEN));
  const words = [];
  for (let i = start; words.length < count; i += 1) {
    words.push(...PARAGRAPHS[i % PARAGRAPHS.length].split(/\s+/));
  }
  return words.slice(0, count);
}

/** How many of `words` the first `tokens` of `allTokens` tokens have brought. */
export function wordsOf(tokens, allTokens, words) {
  return tokens === allTokens ? words.length : Math.floor(tokens * WORDS_PER_TOKEN);
}
