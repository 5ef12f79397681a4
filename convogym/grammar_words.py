"""The words that fill the slots of the persona grammar: tables only, no logic but the joining of lists.

In a list of `OPEN` every eighth value is kept for held-out personas; the values of `CLOSED` lists may stand in both splits.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(" ".join(word.split()) for word in text.split(","))


GIRLS = _words(
    "ida, clara, ruth, nora, mabel, greta, lena, astrid, marta, june, hazel, willa, tess, flora, edith, rosa, petra, ingrid, "
    "wanda, celia, daphne, esme, freya, gwen, hilda, imogen, joan, kira, lottie, mina, nell, odette, pia, quinn, rhea, "
    "sylvie, "
    "thea, una, vera, winnie, yara, zelda, amara, bea, carmen, dina, elsa, fern, gilda, holly, iris, juno, keiko, luz, maya, "
    "nadia, olga, paloma, renata, salma, tamsin, ursula, viola, xenia, yuki, zora, leila, priya, anouk, birgit"
)
BOYS = _words(
    "otto, theo, walter, emil, hugo, felix, jonas, oscar, anton, silas, ezra, amos, bruno, casper, dexter, elias, finn, gus, "
    "henrik, ivan, jasper, kofi, leo, milo, nils, omar, pablo, ravi, samir, tobias, ulrich, victor, wendell, xavier, yusuf, "
    "zane, arlo, boris, cyrus, dmitri, edgar, floyd, george, hank, igor, jules, kenji, lars, marcus, nico, orson, pete, "
    "rufus, stefan, tariq, umberto, vince, waldo, yannick, zeke, alfie, basil, conrad, desmond, ernie, fergus, gilbert, hector"
)
PET_NAMES = _words(
    "miso, pickle, biscuit, pepper, noodle, waffles, bramble, gizmo, sprout, pudding, nugget, clover, domino, tofu, bandit, "
    "mochi, ziggy, cricket, dumpling, pebble, marble, peanut, rocket, sushi, truffle, widget, zippy, button, captain, doodle, "
    "ember, fudge, ginger, hobbit, inky, jelly, kiwi, lemon, muffin, nacho, olive, popcorn, raisin, smudge, taco, turnip, "
    "velvet, whiskey, yoyo, zorro, acorn, bagel, churro, dusty, espresso, figaro, gouda, hiccup, jigsaw, kettle, lentil, "
    "mango, nutmeg, oreo, pretzel, quokka, radish, scooter, tango, umber, vixen, wonton, yeti, zucchini, banjo, cobbler, "
    "dandelion, echo, fiddle, gravy, hopscotch, jupiter, kazoo, lollipop, meatball, nimbus, orbit, paprika, ripple, sardine"
)
ANIMALS = _words(
    "dog, cat, rabbit, hamster, parrot, guinea pig, turtle, goat, beagle, poodle, hedgehog, ferret, canary, gecko, kitten, "
    "puppy, pony, donkey, corgi, lizard, goldfish, cockatoo, terrier, tortoise, chinchilla, chicken, duck, labrador, "
    "dachshund, "
    "snake, greyhound, bulldog, husky, siamese cat, tarantula, alpaca, pug, mouse, parakeet, border collie, rescue dog, "
    "tabby cat, iguana, sheepdog, llama, budgie, dalmatian, newt"
)
JOBS = _words(
    "nurse, plumber, librarian, baker, bus driver, welder, accountant, dentist, mechanic, florist, barber, carpenter, "
    "paramedic, "
    "chemist, surveyor, waiter, electrician, translator, firefighter, veterinarian, math teacher, tailor, butcher, locksmith, "
    "radio host, web designer, lawyer, programmer, cashier, gardener, police officer, flight attendant, truck driver, "
    "tour guide, real estate agent, bank clerk, music teacher, tattoo artist, bartender, fisherman, beekeeper, park ranger, "
    "crane operator, mail carrier, school principal, journalist, photographer, physical therapist, hotel manager, roofer, "
    "pharmacist, lab technician, graphic designer, security guard, midwife, geologist, line cook, pastry chef, optician, "
    "proofreader, wedding planner, piano tuner, dog groomer, house painter, train conductor, ferry captain, farmer, "
    "zookeeper, "
    "museum curator, architect, civil engineer, nanny, kindergarten teacher, swimming coach, court clerk, cab driver, "
    "sound engineer, glassblower, watchmaker, bricklayer, insurance agent, call center agent, data analyst, tax adviser, "
    "furniture maker, landscaper, social worker, speech therapist, yoga instructor, personal trainer, vet assistant, "
    "stage actor, costume designer, book editor, novelist, air traffic controller, pilot, sailor, chimney sweep, glazier, "
    "window cleaner, night watchman, lifeguard, ski instructor, tree surgeon, stone mason, cheese maker, brewer, winemaker, "
    "sign painter, bicycle courier, warehouse picker, forklift driver, script writer, puppeteer, weather forecaster"
)
WORKPLACES = _words(
    "bakery, hospital, bank, toy store, shoe factory, law firm, museum, bookstore, post office, gas station, flower shop, "
    "hardware store, call center, coffee shop, car wash, furniture warehouse, hotel, airport, train station, bike shop, "
    "chocolate factory, steel mill, nursing home, daycare, animal shelter, garden center, supermarket, pizza place, "
    "print shop, "
    "recording studio, software company, brewery, dairy farm, ski resort, travel agency, town hall, chemical plant, "
    "fish market, "
    "paper mill, shipyard, record store, jewelry store, pharmacy, research lab, high school, insurance office, theater, "
    "cell phone store, pawn shop, tea house, candy store, wind farm, youth hostel, tire shop, paint store, dry cleaner"
)
STUDIES = _words(
    "biology, law, nursing, history, physics, economics, art history, computer science, architecture, chemistry, philosophy, "
    "marine biology, engineering, psychology, graphic design, literature, dentistry, geology, statistics, journalism, "
    "accounting, astronomy, linguistics, fashion design, veterinary medicine, archaeology, film theory, botany"
)
BUSINESSES = _words(
    "bakery, food truck, cleaning company, flower shop, bike shop, pizza place, hair salon, bed and breakfast, taxi company, "
    "coffee stand, music school, print shop, dance studio, small farm, toy store, candle shop, pottery studio, book shop, "
    "dog kennel, moving company, garden center, ice cream parlor, tailor shop, boat yard, noodle bar, vineyard"
)
COMMUTES = _words("bus, train, bike, ferry, subway, scooter, tram, motorcycle")
COUNTRIES = _words(
    "japan, peru, norway, kenya, portugal, iceland, greece, vietnam, chile, morocco, scotland, croatia, canada, thailand, "
    "italy, mexico, india, sweden, egypt, new zealand, austria, cuba, finland, brazil, spain, nepal, ireland, turkey, poland, "
    "south korea, ecuador, ghana, australia, denmark, france, bolivia, estonia, malta, indonesia, jamaica, tanzania, hungary, "
    "argentina, switzerland, jordan, costa rica, belgium, mongolia, slovenia, bulgaria, panama, sri lanka, romania, namibia, "
    "georgia, colombia, cyprus, laos, senegal, madagascar, latvia, uruguay, bhutan, albania"
)
CITIES = _words(
    "paris, rome, tokyo, lisbon, cairo, oslo, prague, berlin, havana, chicago, toronto, sydney, dublin, athens, vienna, "
    "kyoto, seattle, budapest, istanbul, mumbai, madrid, naples, copenhagen, boston, denver, new orleans, singapore, seoul, "
    "amsterdam, edinburgh, krakow, marrakesh, lima, santiago, montreal, helsinki, bangkok, barcelona, venice, reykjavik, "
    "nashville, san diego, hanoi, porto, riga, tbilisi, quebec, honolulu, miami, bruges, salzburg, nairobi, cape town, sofia"
)
REGIONS = _words(
    "the alps, the amazon, the sahara, the grand canyon, the baltic sea, the rocky mountains, the scottish highlands, "
    "the great barrier reef, the andes, the black forest, the greek islands, the silk road, the arctic circle, the nile, "
    "the caribbean, the faroe islands, the pyrenees, the gobi desert, the everglades, the norwegian fjords, the great lakes, "
    "the serengeti, the amalfi coast, the dead sea, the himalayas, the galapagos islands, the florida keys, patagonia, "
    "siberia, "
    "lapland, tuscany, bavaria"
)
HOBBIES = _words(
    "painting, knitting, rock climbing, gardening, chess, surfing, baking bread, bird watching, fishing, pottery, archery, "
    "woodworking, stamp collecting, running, hiking, cycling, swimming, yoga, karate, quilting, origami, juggling, "
    "skateboarding, "
    "horse riding, kayaking, sewing, calligraphy, astronomy, model trains, crossword puzzles, bowling, tennis, table tennis, "
    "salsa dancing, tap dancing, fencing, geocaching, beekeeping, metal detecting, candle making, soap making, scuba diving, "
    "snowboarding, ice skating, judo, darts, badminton, kite flying, drone racing, mushroom picking, home brewing, "
    "jigsaw puzzles, video games, board games, creative writing, reading mysteries, photography, volleyball, basketball, "
    "golf, "
    "croquet, rowing, sailing, weightlifting, boxing, pilates, trampolining, parkour, paragliding, embroidery, crochet, "
    "leather craft, whittling, glass painting, scrapbooking, ham radio, card tricks, ventriloquism, line dancing, "
    "cross stitch, "
    "ice fishing, orienteering, unicycling, water polo, squash, hula hooping, wood carving, macrame, sudoku, mosaics, "
    "frisbee golf"
)
COLLECTIONS = _words(
    "stamps, old coins, teapots, vinyl records, comic books, seashells, postcards, snow globes, baseball cards, "
    "vintage cameras, "
    "fountain pens, toy trains, music boxes, pocket watches, typewriters, marbles, old maps, lunch boxes, bottle caps, "
    "sneakers, "
    "fossils, rubber ducks, action figures, fridge magnets, chess sets, cookbooks, matchboxes, key chains, minerals, "
    "tin robots, hats, ticket stubs, puppets, license plates, buttons, wooden spoons, butterflies, old radios, dice, "
    "playing cards"
)
MAKES = _words(
    "wooden chairs, quilts, candles, model ships, birdhouses, clay mugs, jewelry, kites, scarves, doll houses, wool socks, "
    "paper cranes, stained glass, picture frames, baskets, soap, wind chimes, lamps, greeting cards, puppets, skateboards, "
    "guitars, mosaics, costumes, terrariums, hammocks, carved spoons, bird feeders"
)
SPORTS = _words(
    "soccer, tennis, volleyball, basketball, softball, rugby, hockey, badminton, cricket, lacrosse, handball, bowling, "
    "curling, "
    "water polo, ultimate frisbee, table tennis, pool, darts, golf, squash, dodgeball, netball, field hockey, pickleball"
)
READS = _words(
    "mystery novels, science fiction, poetry, comic books, biographies, fantasy novels, history books, romance novels, "
    "ghost stories, travel books, crime thrillers, fairy tales, western novels, manga, short stories, spy novels, "
    "cookbooks, gardening magazines, old newspapers, graphic novels"
)
FOODS = _words(
    "lasagna, sushi, tacos, pizza, mushroom risotto, fried chicken, ramen, pancakes, apple pie, chili, dumplings, "
    "mac and cheese, "
    "lamb curry, fish and chips, falafel, spaghetti, cheeseburgers, barbecue ribs, pad thai, grilled salmon, tomato soup, "
    "paella, "
    "burritos, gnocchi, pierogi, shrimp scampi, meatloaf, goulash, clam chowder, ravioli, kimchi stew, roast duck, hummus, "
    "chocolate cake, strawberry ice cream, peach cobbler, cinnamon rolls, garlic bread, potato salad, onion rings, waffles, "
    "french toast, beef stew, cornbread, gumbo, poutine, borscht, moussaka, spring rolls, crab cakes, nachos, quesadillas, "
    "steak, hot dogs, caesar salad, eggplant parmesan, butter chicken, samosas, lentil soup, stuffed peppers, shepherds pie, "
    "pot roast, jambalaya, lobster rolls, pulled pork, fried rice, miso soup, banana bread, lemon tart, cheesecake, tiramisu, "
    "blueberry muffins, brownies, carrot cake, rice pudding, baklava, churros, crepes, bagels, avocado toast, scrambled eggs, "
    "sweet potato fries, baked beans, pumpkin pie, key lime pie, fondue, schnitzel, pickled herring, mussels, oysters, "
    "udon noodles, tempura, bibimbap, empanadas, ceviche, tamales, enchiladas, couscous, tabbouleh, shakshuka, pho, laksa, "
    "satay"
)
DISLIKED = _words(
    "broccoli, olives, mushrooms, liver, anchovies, blue cheese, cilantro, brussels sprouts, oysters, beets, coconut, "
    "cottage cheese, raw onions, tofu, eggplant, sardines, mayonnaise, licorice, black pudding, okra, raisins, turnips, "
    "goat cheese, celery, pickles, grapefruit, squid, spinach, lima beans, mustard, seaweed, peas, cabbage, rhubarb, kale, "
    "radishes"
)
DRINKS = _words(
    "black coffee, green tea, root beer, lemonade, hot chocolate, ginger ale, iced tea, red wine, orange juice, apple cider, "
    "mint tea, oat milk, coconut water, espresso, chai, tomato juice, cream soda, sparkling water, white wine, kombucha, "
    "cranberry juice, buttermilk, grape soda, cold brew, dark beer, mango lassi"
)
ALLERGENS = _words(
    "peanuts, shellfish, milk, eggs, strawberries, soy, walnuts, gluten, sesame, tomatoes, kiwis, almonds, garlic, mustard, "
    "celery, cashews, bananas, mushrooms"
)
CUISINES = _words(
    "thai, italian, mexican, indian, korean, greek, ethiopian, japanese, lebanese, french, vietnamese, turkish, peruvian, "
    "spanish, moroccan, polish, chinese, cajun, persian, hungarian, brazilian, german, cuban, jamaican"
)
FILM_KINDS = _words(
    "horror, comedy, western, science fiction, spy, disaster, superhero, romantic, silent, martial arts, zombie, pirate, war, "
    "heist, courtroom, vampire, animated, kung fu, mystery, monster, sports, fantasy, crime, documentary, black and white, "
    "christmas, dance, adventure, road, prison, ghost, samurai"
)
_FILM_FIRST = _words(
    "lighthouse, orchard, winter, copper, harbor, midnight, paper, glass, river, thunder, garden, desert, silver, scarlet, "
    "lantern, island, velvet, marble, wolf, sparrow"
)
_FILM_LAST = _words(
    "keeper, road, affair, express, letters, empire, detective, island, promise, machine, bride, heist, crossing, secret, "
    "kingdom, waltz, shadow, summer"
)
FILMS = tuple(
    f"the {a} {b}" for i, a in enumerate(_FILM_FIRST) for j, b in enumerate(_FILM_LAST) if (i + 2 * j) % 3 == 0 and a != b
)
_BAND_FIRST = _words(
    "velvet, broken, electric, sleepy, golden, hollow, crimson, paper, howling, lucky, rusty, plastic, purple, dizzy, wooden, "
    "neon, frozen, lonely, salty, cosmic"
)
_BAND_LAST = _words(
    "otters, lanterns, pilots, teacups, wolves, radios, cousins, comets, kettles, foxes, umbrellas, sparrows, engines, "
    "sailors, "
    "mittens, cowboys, ladders, moths"
)
BANDS = tuple(f"the {a} {b}" for i, a in enumerate(_BAND_FIRST) for j, b in enumerate(_BAND_LAST) if (i + j) % 3 == 0)
ACTORS = tuple(
    f"{first} {last}"
    for i, first in enumerate(_words("marla, dorian, celeste, rex, vivian, buster, lorena, ansel, delia, monty, tilda, ramon"))
    for j, last in enumerate(_words("vance, holloway, quill, sterling, okoro, finch, delgado, thorne, winslow, abbott"))
    if (i + j) % 2 == 0
)
GENRES = _words(
    "jazz, country, heavy metal, reggae, classical, hip hop, folk, punk rock, blues, techno, opera, soul, bluegrass, disco, "
    "ska, "
    "salsa, gospel, indie rock, swing, funk, house, grunge, flamenco, synth pop, drum and bass, celtic, klezmer, tango, "
    "samba, ragtime, r and b, baroque, lo fi, motown, rockabilly, polka"
)
INSTRUMENTS = _words(
    "guitar, piano, violin, drums, trumpet, cello, flute, banjo, saxophone, accordion, harp, ukulele, clarinet, tuba, "
    "trombone, "
    "mandolin, harmonica, organ, bass guitar, bagpipes, oboe, viola, french horn, xylophone, fiddle, bassoon, bongos, sitar, "
    "double bass, tin whistle, keyboard, marimba"
)
ISSUES = _words(
    "clean air, cheaper housing, better schools, public transport, road repairs, animal welfare, clean rivers, health care, "
    "rent control, lower taxes, small farms, bike lanes, libraries, recycling, fair wages, disability rights, "
    "street lighting, "
    "child care, veterans, public parks, small business, food banks, noise control, free trade, water quality, "
    "school lunches, "
    "night buses, local hospitals, solar power, forest protection, broadband for villages, job training, road safety, "
    "nuclear power, border policy, farm subsidies, pension reform, term limits, balanced budgets, open data, flood walls, "
    "tenant rights, youth clubs, lower tuition, fishing rights, wind turbines, tree planting, dental care"
)
PARTIES = _words(
    "green party, labor party, conservative party, liberal party, farmers party, center party, republican party, "
    "democratic party, workers party, river party, harbor party, taxpayers party, citizens party, unity party, reform party, "
    "gardeners party, homeland party, pensioners party, coastal party, common sense party"
)
OFFICES = _words(
    "city council, school board, town council, parish council, library board, county board, village council, student council, "
    "water board, planning committee, housing committee, park commission"
)
OFFICIALS = _words(
    "mayor, governor, senator, council member, sheriff, school board president, county treasurer, member of parliament, "
    "city councilor, county judge, congresswoman, congressman"
)
NEWS = _words(
    "newspaper, radio news, evening news, podcast, town newsletter, weekly magazine, debate show, news channel, council blog, "
    "morning paper, parliament channel, radio debate"
)
ELECTION_JOBS = _words(
    "knock on doors, hand out flyers, make phone calls, put up posters, count ballots, drive voters to the polls, "
    "register new voters, write letters to the editor, design leaflets, organize rallies, collect signatures, run the website"
)
VIEWS = _words(
    "liberal, conservative, moderate, libertarian, progressive, centrist, independent, social democrat, republican, democrat"
)
SCHOOLS = _words(
    "preschool, kindergarten, first grade, second grade, third grade, middle school, high school, college, law school"
)
CHILD_SPORTS = _words(
    "soccer, ballet, chess, judo, violin, swimming, hockey, piano, gymnastics, baseball, trumpet, karate, tennis, drums, "
    "theater, "
    "fencing, climbing, volleyball"
)
PLACES_MET = _words(
    "a bus stop, a salsa class, college, a wedding, a dog park, a laundromat, a bookstore, a karaoke bar, work, summer camp, "
    "a blind date, a train, a cooking class, a ski lift, a farmers market, a hospital, church, an airport, a chess club, "
    "a costume party, a flea market, a marathon, a rock concert, jury duty"
)
TRANSPORT = _words(
    "train, bus, motorcycle, bicycle, camper van, sailboat, canoe, horse, cruise ship, car, night train, minibus"
)
SOUVENIRS = _words(
    "magnets, postcards, spoons, rocks, hats, tea towels, coffee mugs, scarves, shot glasses, sand, stickers, maps, coins, "
    "masks, "
    "train tickets, spices"
)
RELATIVES = _words(
    "nieces, nephews, godchildren, little brothers, little sisters, foster children, stepchildren, grandchildren"
)

OPEN: dict[str, tuple[str, ...]] = {
    "girl": GIRLS,
    "boy": BOYS,
    "child": tuple(f"daughter {name}" for name in GIRLS) + tuple(f"son {name}" for name in BOYS),
    "spouse": tuple(f"wife {name}" for name in GIRLS[::2]) + tuple(f"husband {name}" for name in BOYS[::2]),
    "lover": tuple(f"girlfriend {name}" for name in GIRLS[1::2]) + tuple(f"boyfriend {name}" for name in BOYS[1::2]),
    "fiance": tuple(f"fiancee {name}" for name in GIRLS[::2]) + tuple(f"fiance {name}" for name in BOYS[1::2]),
    "pet": PET_NAMES,
    "animal": ANIMALS,
    "job": JOBS,
    "workplace": WORKPLACES,
    "study": STUDIES,
    "business": BUSINESSES,
    "country": COUNTRIES,
    "city": CITIES,
    "region": REGIONS,
    "hobby": HOBBIES,
    "collection": COLLECTIONS,
    "make": MAKES,
    "sport": SPORTS,
    "read": READS,
    "food": FOODS,
    "disliked": DISLIKED,
    "drink": DRINKS,
    "allergen": ALLERGENS,
    "cuisine": CUISINES,
    "filmkind": FILM_KINDS,
    "film": FILMS,
    "band": BANDS,
    "actor": ACTORS,
    "genre": GENRES,
    "instrument": INSTRUMENTS,
    "issue": ISSUES,
    "party": PARTIES,
    "office": OFFICES,
    "official": OFFICIALS,
    "souvenir": SOUVENIRS,
    "met": PLACES_MET,
}

NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
AGES = tuple(str(age) for age in range(18, 91))

CLOSED: dict[str, tuple[str, ...]] = {
    "n": ("two", "three", "four", "five"),
    "many": ("three", "four", "five", "six", "seven", "eight", "nine"),
    "years": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    "decades": ("twenty", "thirty"),
    "kidage": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    "gradkids": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    "countries": ("five", "eight", "ten", "twelve", "fifteen", "twenty", "thirty", "forty"),
    "age": AGES,
    "grayage": AGES[7:35],
    "month": _words("january, february, march, april, june, july, august, september, october, november, december"),
    "season": _words("spring, summer, fall, winter"),
    "sign": _words("aries, taurus, gemini, cancer, leo, virgo, libra, scorpio, sagittarius, capricorn, aquarius, pisces"),
    "commute": COMMUTES,
    "school": SCHOOLS,
    "childsport": CHILD_SPORTS,
    "transport": TRANSPORT,
    "view": VIEWS,
    "news": NEWS,
    "campaign": ELECTION_JOBS,
    "weekday": _words("monday, tuesday, wednesday, thursday, friday, saturday, sunday"),
    "spousal": ("husband", "wife"),
    "loving": ("girlfriend", "boyfriend"),
    "relative": RELATIVES[:3],
    "sibling": ("brother", "cousin"),
    "relation": _words("cousin, uncle, aunt, neighbor, grandfather, stepmother, roommate, godmother"),
    "outdoor": _words(
        "camping, skiing, fishing, kayaking, sledding, surfing, hiking, sailing, rafting, stargazing, cycling, bird watching"
    ),
    "sweet": _words(
        "cookies, chocolate, gummy bears, donuts, ice cream, marshmallows, caramel, fudge, cupcakes, honey, marzipan, toffee"
    ),
    "grown": _words(
        "tomatoes, pumpkins, beans, peppers, carrots, herbs, cucumbers, lemons, strawberries, potatoes, zucchini, garlic"
    ),
    "choir": _words("church, barbershop, gospel, city, school, village, jazz, student, folk"),
    "room": _words("garage, kitchen, basement, attic, bedroom, living room, hallway, garden shed"),
    "singroom": _words("shower, car, kitchen, garden, church, bathtub"),
}

MEATY = _words(
    "fried chicken, lamb curry, fish and chips, cheeseburgers, barbecue ribs, grilled salmon, shrimp scampi, meatloaf, "
    "goulash, "
    "clam chowder, roast duck, beef stew, gumbo, crab cakes, steak, hot dogs, butter chicken, shepherds pie, pot roast, "
    "jambalaya, "
    "lobster rolls, pulled pork, schnitzel, pickled herring, mussels, oysters, ceviche, sushi, paella, chili, tacos, lasagna, "
    "tamales, pho, laksa, satay, burritos, ramen, pad thai"
)
BOATS = _words("sailboat, canoe, cruise ship, ferry, sailing, kayaking, rowing, ferry captain, fisherman, sailor")

IMPLIED: dict[str, str] = {
    **{food: "diet:meat" for food in MEATY},
    **{boat: "boats:yes" for boat in BOATS},
    **{value: "mate:wife" for value in OPEN["spouse"] if value.startswith("wife")},
    **{value: "mate:husband" for value in OPEN["spouse"] if value.startswith("husband")},
    **{value: f"mate:{value.split()[0]}" for value in OPEN["lover"] + OPEN["fiance"] + CLOSED["spousal"] + CLOSED["loving"]},
}
